"""Probes: what of a word's morphology can be read off a checkpoint's hidden states, layer by layer.

words             sentences and labelled words: what is trained on, what is held out, the control's labels (no torch)
representations   vectors of words at every layer, from one pass of the encoder (torch)
linear            a linear probe and its control at every layer, with intervals (scikit-learn)
job               all languages of one checkpoint, as one JSON file
table             all of a sweep's probes as one CSV file (no torch)
curves            that table summed up: curves over layers, their peaks, what training gained (no torch)
"""
