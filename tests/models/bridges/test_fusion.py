"""Gated fusion against the formula of its paper, and the patches that a token does not see."""

from __future__ import annotations

import torch

from sepiola.models.bridges.fusion import GatedFusion
from tests.tiny import randomise


def test_a_state_is_a_gated_sum_of_itself_and_what_it_attends_to() -> None:
    fusion = randomise(GatedFusion(6, 4))
    states, features = torch.randn(2, 3, 6), torch.randn(2, 5, 4)
    with torch.no_grad():
        image = fusion.image(features)
        keys, values = fusion.kv(image).split(6, dim=-1)
        chosen = (fusion.q(states) @ keys.transpose(1, 2) / 6**0.5).softmax(-1)
        attended = fusion.out(chosen @ values)
        gate = fusion.gate(torch.cat((states, attended), -1)).sigmoid()
        torch.testing.assert_close(fusion(states, features), (1 - gate) * states + gate * attended)


def test_hidden_patches_and_the_images_of_other_segments_change_nothing() -> None:
    fusion = randomise(GatedFusion(6, 4)).eval()
    states, features = torch.randn(1, 4, 6), torch.randn(1, 4, 4)
    segments, image_segments = torch.tensor([[1, 1, 2, 2]]), torch.tensor([[1, 0, 2, 2]])
    with torch.no_grad():
        packed = fusion(states, features, segments, image_segments)
        first = fusion(states[:, :2], features[:, :1])
        second = fusion(states[:, 2:], features[:, 2:])
    torch.testing.assert_close(packed, torch.cat((first, second), 1))
