import sys

import pytest

from scripts.benchmarks import reading as benchmark_reading


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells which files are open"
)
def test_workers_hold_one_handle_of_a_zip(tmp_path):
    result = benchmark_reading.compare(images=320, workers=2, rounds=1, folder=tmp_path)
    assert result["handles_of_the_zip_in_a_worker"] == 1
    assert result["zip_images_per_second"] > 0 and result["ratio"] > 0
    assert 20 < result["kilobytes_an_image"] < 120
