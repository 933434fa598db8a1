"""Before the sweep: what it will be able to see, and what it would need to see more.

`tests` says how often the two questions' tests find an effect, `sources` where the variances come from, `planning` what
a sweep can see and needs, `text` writes it as a page.
"""
