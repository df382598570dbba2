"""Every claim about speed, measured: each is a ratio to something that runs in turns with it, in the same run.

`python -m benchmarks` runs those that have a target: requests beside an empty Django view, spans beside COPY and other
stores of spans, memory over a million spans. `python -m benchmarks servers` compares web servers, `python -m benchmarks
wrk` holds our load generator against wrk.
"""
