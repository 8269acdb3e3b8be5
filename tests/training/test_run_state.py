import pytest

from srgan_dist.training.run_state import RunState


def test_a_state_restored_is_the_state_that_was_saved():
    state = RunState(32, step=7, phase=1, phase_start=4, phase_over=False, best=(31.5, 6), stale=1)
    restored = RunState(16)

    restored.load_state_dict(state.state_dict() | {"networks": "another's"}, parts=2)

    assert restored == state


def test_crops_that_cannot_be_shared_evenly_are_refused_with_a_number_that_can():
    with pytest.raises(ValueError, match=r"32 crops per step, which 3 parts .* a number of processes that divides 32"):
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


def test_the_shares_of_all_processes_are_the_crops_of_the_step_in_order():
    state = RunState(12)

    shares = [state.share(5, rank, 3) for rank in range(3)]

    assert shares == [(4, 60), (4, 64), (4, 68)]
