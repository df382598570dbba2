"""Every claim about speed, measured: each is a ratio to an empty Django view on the same server, in the same run.

`python -m benchmarks` runs them, `python -m benchmarks servers` compares web servers, `python -m benchmarks wrk` holds
our load generator against wrk.
"""
