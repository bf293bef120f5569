"""`make bench`: this sentinel beside the stock one in the same run. Figures only; no test depends on them."""
