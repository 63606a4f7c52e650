import pytest

from scripts.benchmarks import predict as benchmark_predict
from tests.prompting.tiny import tiny_config


@pytest.mark.parametrize("prompt", ["text", "visual"])
def test_both_rates_are_measured(tmp_path, prompt):
    result = benchmark_predict.compare(tiny_config(), prompt, 6, 4, 1, "cpu", tmp_path)
    assert result["images"] == 6 and len(list(tmp_path.iterdir())) == 6
    assert result["tower_images_per_second"] > 0 and result["ratio"] > 0
