"""Micro-batches with the rollouts of as few prompts as possible."""

import torch

from autotool_training.rl.micro_batches import by_prompt


def test_rollouts_of_a_prompt_are_put_together_with_all_their_values() -> None:
    prompts = [[3, 1], [2, 9], [3, 1], [2, 9], [2, 9], [3, 1]]
    parts = [
        {
            "prompt_ids": torch.tensor(prompts[start : start + 2]),
            "advantages": torch.arange(start, start + 2),
            "names": [f"rollout {at}" for at in range(start, start + 2)],
            "num_items_in_batch": torch.tensor(12),
            "images": None,
        }
        for start in (0, 2, 4)
    ]
    found = by_prompt(parts)
    assert [part["prompt_ids"].tolist() for part in found] == [[[2, 9]] * 2, [[2, 9], [3, 1]], [[3, 1]] * 2]
    assert [part["advantages"].tolist() for part in found] == [[1, 3], [4, 0], [2, 5]]
    assert [part["names"] for part in found] == [[f"rollout {at}" for at in pair] for pair in ((1, 3), (4, 0), (2, 5))]
    assert all(part["num_items_in_batch"] == 12 and part["images"] is None for part in found)
