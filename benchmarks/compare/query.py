"""The same aggregate as `gradlab compare`'s, as two bare DuckDB queries; prints how many seconds they took."""

from __future__ import annotations

import sys
import time

import duckdb

FACTORS = "optimizer, init, width, activation, lr"

LAYERS = """
SELECT {factors}, layer, count(*),
       avg(log10_delta_rms), stddev_samp(log10_delta_rms),
       avg(log10_weight_grad_norm), stddev_samp(log10_weight_grad_norm)
FROM read_parquet('{run}/layers/*.parquet') AS layers JOIN read_parquet('{run}/trials/*.parquet') USING (trial_id)
WHERE layers.step = 0
GROUP BY ALL
"""
"""The profile of every network at step 0."""

TRIALS = """
SELECT {factors}, count(*), count(*) FILTER (status = 'diverged'), count(*) FILTER (status = 'failed'),
       mode(diagnosis), {means}
FROM read_parquet('{run}/trials/*.parquet')
GROUP BY ALL
"""
"""Everything else in the table."""

RESULTS = (
    "log10(gradient_decay)",
    "log10(predicted_gradient_decay)",
    "dead_fraction",
    "saturated_fraction",
    "final_train_loss",
    "final_eval_loss",
    "final_eval_metric",
)


def main(run: str, threads: str) -> None:
    """Time both queries together, from connecting to the last row."""
    means = ", ".join(f"avg({result}), stddev_samp({result})" for result in RESULTS)
    start = time.perf_counter()
    connection = duckdb.connect()
    connection.execute(f"SET threads = {int(threads)}")
    rows = connection.execute(LAYERS.format(run=run, factors=FACTORS)).fetchnumpy()
    rows = connection.execute(TRIALS.format(run=run, factors=FACTORS, means=means)).fetchnumpy()
    print(time.perf_counter() - start, len(rows["lr"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
