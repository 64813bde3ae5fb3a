"""What a proposal draws follows from the study's seed and its own number."""

from __future__ import annotations

from clearsight.tuning.draws import trial_seed


def test_is_a_function() -> None:
    assert trial_seed(3, 7) == trial_seed(3, 7)


def test_no_two_proposals_share_their_draws() -> None:
    seeds = [trial_seed(seed, number) for seed in range(50) for number in range(50)]
    assert len(set(seeds)) == len(seeds)


def test_fits_everybody_who_takes_seeds() -> None:
    assert all(0 <= trial_seed(seed, number) < 2**32 for seed in (0, 2**32 - 1) for number in (0, 10_000))


def test_neighbours_are_nothing_alike() -> None:
    """Of two independent 32-bit numbers 16 bits differ on average."""
    differing = [(trial_seed(0, number) ^ trial_seed(0, number + 1)).bit_count() for number in range(500)]
    assert 15 < sum(differing) / len(differing) < 17


def test_is_the_same_on_every_machine() -> None:
    assert [trial_seed(0, 0), trial_seed(0, 1), trial_seed(1, 0)] == [2968811710, 3964924996, 1835504127]
