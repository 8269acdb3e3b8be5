from srgan_dist.tracking.main_parameters import MAIN, main_first
from srgan_dist.training.config import recorded
from srgan_dist.training.presets import PRESETS
from srgan_dist.utils.serialization import flatten


def test_the_fifteen_that_matter_are_those_of_every_preset():
    assert len(MAIN) == 15
    for config in PRESETS.values():
        missing = set(MAIN) - {"crops_per_step"} - flatten(recorded(config)).keys()
        assert missing <= {"generator.blocks"}  # the compact network counts its layers differently


def test_they_come_first_and_nothing_is_lost():
    params = {"a": 1, "seed": 0, "b": 2, "scale": 4}

    assert list(main_first(params).items()) == [("scale", 4), ("seed", 0), ("a", 1), ("b", 2)]
