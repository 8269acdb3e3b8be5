import pytest

from srgan_dist.data.packing.hold_out import choose_held_out


def names(count: int) -> list[str]:
    return [f"image-{n}" for n in range(count)]


@pytest.mark.parametrize(("images", "held_out"), [(39, 0), (40, 4), (50, 4), (199, 4), (300, 6), (1000, 20)])
def test_by_default_two_percent_at_least_four_of_forty_or_more_are_held_out(images: int, held_out: int):
    assert len(choose_held_out(names(images), None, {})) == held_out


def test_a_count_holds_out_as_many_and_zero_none():
    assert len(choose_held_out(names(10), 3, {})) == 3
    assert choose_held_out(names(100), 0, {}) == set()


def test_adding_images_moves_none_under_a_fraction():
    before, after = (choose_held_out(names(n), 0.1, {}) for n in (200, 400))

    assert 5 < len(before) < 40
    assert after & set(names(200)) == before


def test_a_fraction_of_few_images_holds_out_one():
    assert len(choose_held_out(names(3), 0.001, {})) == 1


def test_images_that_were_packed_before_keep_their_split():
    before = choose_held_out(names(40), None, {})
    packed = {name: "valid" if name in before else "train" for name in names(40)}

    after = choose_held_out(names(400), None, packed)

    assert len(after) == 8
    assert after & set(names(40)) == before


def test_the_choice_does_not_depend_on_the_order():
    assert choose_held_out(names(50), None, {}) == choose_held_out(names(50)[::-1], None, {})


@pytest.mark.parametrize(("valid", "message"), [(-1, "must be"), (2.5, "must be"), (3, "all 3 images"), (9, "all 3")])
def test_what_cannot_be_held_out_is_refused(valid: float, message: str):
    with pytest.raises(ValueError, match=message):
        choose_held_out(names(3), valid, {})
