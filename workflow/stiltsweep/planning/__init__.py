"""What a sweep has done and still has to do: the rules' jobs, their states on disk, and what they will cost.

The graph is walked from the rules themselves, and what lies in the results folder is compared with what is asked for by
what it was made from (see `identity`). Snakemake's records in .snakemake and the times of files play no part: a folder
that was copied, shared or came back from an archive is worth what it holds. The same comparison decides what a run
runs, so that plan, dry run and run agree.
"""
