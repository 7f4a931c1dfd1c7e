"""Replacing groups of equal rewards."""

import torch

from autotool_training.rl.dynamic_sampling import draw_rows, replace_dead_groups, rows_of

GROUP = 2


def batch(values: list[int], width: int) -> dict[str, torch.Tensor]:
    """Rows whose tensors all have the row's value."""
    rows = torch.tensor(values)
    return {
        "prompt_ids": rows.unsqueeze(1).repeat(1, width),
        "completion_ids": rows.unsqueeze(1).repeat(1, width),
        "advantages": rows.float(),
        "num_items_in_batch": torch.tensor(7),
        "drawn": torch.ones(len(values), dtype=torch.bool),
    }


def live(*groups: bool) -> torch.Tensor:
    return torch.tensor([group for group in groups for _ in range(GROUP)])


def test_dead_groups_are_replaced_by_live_ones_until_none_is_left() -> None:
    asked: list[tuple[int, int]] = []

    def generate(groups: int, attempt: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        asked.append((groups, attempt))
        values = [10 * (attempt + 1) + place for place in range(groups * GROUP)]
        return batch(values, width=4), live(*(at == groups - 1 for at in range(groups)))

    first = batch([0, 1, 2, 3, 4, 5], width=3)
    made, replaced = replace_dead_groups(
        first, live(False, True, False), GROUP, generate=generate, largest=lambda number: number, attempts=9
    )
    assert asked == [(2, 0), (1, 1)]
    assert replaced == [0, 2]
    assert made["advantages"].tolist() == [12, 13, 2, 3, 20, 21]
    assert made["drawn"].tolist() == [False, False, True, True, False, False]
    # Prompts are padded on the left and responses on the right.
    assert made["prompt_ids"][2].tolist() == [0, 2, 2, 2]
    assert made["completion_ids"][2].tolist() == [2, 2, 2, 0]
    assert made["completion_ids"][0].tolist() == [12] * 4
    assert made["num_items_in_batch"] == 7
    # What was drawn first stays as it was.
    assert first["advantages"].tolist() == [0, 1, 2, 3, 4, 5]
    assert rows_of(first, replaced, GROUP)["advantages"].tolist() == [0, 1, 4, 5]


def test_the_number_of_batches_is_bounded_and_a_rank_without_dead_groups_generates_too() -> None:
    asked: list[int] = []

    def generate(groups: int, _: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        asked.append(groups)
        return batch([9] * groups * GROUP, width=2), live(*[False] * groups)

    first = batch([0, 1], width=2)
    made, replaced = replace_dead_groups(first, live(True), GROUP, generate=generate, largest=lambda _: 3, attempts=2)
    assert (asked, replaced) == ([3, 3], [])
    assert made["advantages"].tolist() == [0, 1]


def test_further_records_are_others_and_the_same_for_one_seed() -> None:
    data = [{"at": at} for at in range(5)]
    drawn = [row["at"] for row in draw_rows(data, 5, GROUP, seed=3)]
    assert sorted(drawn[::GROUP]) == sorted(drawn[1::GROUP]) == [0, 1, 2, 3, 4]
    assert drawn == [row["at"] for row in draw_rows(data, 5, GROUP, seed=3)]
    assert len(draw_rows(data, 7, GROUP, seed=3)) == 7 * GROUP
