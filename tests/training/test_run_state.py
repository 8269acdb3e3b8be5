import pytest

from srgan_dist.cli.train import _steps_for_epochs
from srgan_dist.training.presets import preset
from srgan_dist.training.run_state import RunState, with_epochs_as_steps


def test_a_state_restored_is_the_state_that_was_saved():
    state = RunState(32, step=7, phase=1, phase_start=4, phase_over=False, best=(31.5, 6), stale=1)
    restored = RunState(16)

    restored.load_state_dict(state.state_dict() | {"networks": "another's"}, parts=2)

    assert restored == state


def test_crops_that_cannot_be_shared_evenly_are_refused_with_a_number_that_can():
    with pytest.raises(
        ValueError, match=r"32 crops per step, .* into 3 parts .* a number of processes that divides 32"
    ):
        RunState(96).load_state_dict(RunState(32).state_dict(), parts=3)


def test_a_new_phase_forgets_the_best_of_the_one_before():
    state = RunState(16, step=9, best=(33.0, 8), stale=2)

    state.start_phase(1)

    assert (state.phase, state.phase_start, state.phase_over, state.stale) == (1, 9, False, 0)
    assert state.add_validation(20.0, patience=0)


def test_patience_counts_validations_since_the_best_one():
    state = RunState(16, phase_over=False)

    improved = [state.add_validation(psnr, patience=2) for psnr in (30.0, 31.0, 30.5)]
    over_before = state.phase_over
    state.add_validation(31.0, patience=2)

    assert improved == [True, True, False]
    assert not over_before
    assert state.phase_over
    state.set_phase_steps(1000)  # resumed before the next phase began
    assert state.phase_over


def test_the_shares_of_all_processes_are_the_crops_of_the_step_in_order():
    state = RunState(12)

    shares = [state.share(5, rank, 3) for rank in range(3)]

    assert shares == [(4, 60), (4, 64), (4, 68)]


def test_a_phase_whose_steps_were_raised_goes_on_and_one_that_ended_early_does_not():
    state = RunState(16, step=9, phase_start=4, phase_over=True)

    state.set_phase_steps(5)
    assert state.phase_over
    state.set_phase_steps(6)
    assert not state.phase_over

    state.ended_early = True
    state.set_phase_steps(6)
    assert state.phase_over


def test_a_state_of_an_older_version_lacks_fields_and_loads():
    old = {k: v for k, v in RunState(16, step=3).state_dict().items() if k != "ended_early"}
    state = RunState(16)

    state.load_state_dict(old, parts=1)

    assert (state.step, state.ended_early) == (3, False)


def test_epochs_become_steps_by_the_images_and_the_crops_of_all_processes():
    config = preset("notebook-x2")

    assert with_epochs_as_steps(config, images=400, crops_per_step=16).adversarial.steps == 1500
    assert with_epochs_as_steps(config, images=800, crops_per_step=16).adversarial.steps == 3000
    assert with_epochs_as_steps(config, images=400, crops_per_step=32).adversarial.steps == 750
    assert with_epochs_as_steps(preset("srgan-x4"), images=None, crops_per_step=1) == preset("srgan-x4")
    with pytest.raises(ValueError, match=r"a stream has no epochs; use --adversarial\.steps"):
        with_epochs_as_steps(config, images=None, crops_per_step=1)


def test_steps_on_the_command_line_take_the_place_of_a_presets_epochs():
    config = preset("notebook-x2")

    assert _steps_for_epochs(config, ["--adversarial.steps=9"]).adversarial.epochs is None
    assert _steps_for_epochs(config, ["--adversarial.steps", "9", "--adversarial.epochs", "2"]) == config
    assert _steps_for_epochs(config, []) == config
