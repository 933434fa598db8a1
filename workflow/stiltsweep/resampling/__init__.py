"""What every bootstrap here is made of, whatever it is of: named draws, strata of examples, intervals and p values."""
