"""The resampler against the paper's pseudo-code (appendix A.1), which shares nothing with the package."""

from __future__ import annotations

import torch

from sepiola.models.bridges.resampler import Resampler
from sepiola.specs.bridge import ResamplerSpec
from tests.models.bridges.pseudo_code import plain_attention, plain_norm, shaken, weights_of

PATCHES = 5
RESAMPLER = {"latents": 3, "depth": 2, "attention": {"heads": 2, "head_width": 8}, "frames": 4}


def test_a_video_of_one_frame_is_that_image() -> None:
    """Both have the time embedding of the first frame; further frames change what is seen, and so does their order."""
    resampler = Resampler(ResamplerSpec.parse(RESAMPLER), 12)
    image, video = torch.randn(2, PATCHES, 12), torch.randn(1, 3, PATCHES, 12)
    with torch.no_grad():
        assert torch.equal(resampler(image), resampler(image[:, None]))
        assert (resampler(video) - resampler(video.flip(1))).abs().max() > 0.01
        long = resampler(torch.randn(1, 7, PATCHES, 12))  # of more frames than there are embeddings
        before = resampler(image)
        resampler.times[1:].normal_()
        assert torch.equal(resampler(image), before)
        resampler.times[0].normal_()
        assert (resampler(image) - before).abs().max() > 0.01
    assert long.shape == (1, 3, 12)


@torch.no_grad()
def test_the_resampler_is_the_papers() -> None:
    spec = ResamplerSpec.parse({**RESAMPLER, "width": 16, "activation": "squared_relu"})
    ours = shaken(Resampler(spec, 12))
    video = torch.randn(2, PATCHES, 12)
    x_f = torch.cat([frame @ ours.into.weight.T + time for frame, time in zip(video, ours.times, strict=False)])
    x = ours.latents
    for layer in ours.layers:
        media, latents = plain_norm(x_f, layer.features_norm), plain_norm(x, layer.latents_norm)
        x = x + plain_attention(latents, torch.cat([media, latents]), weights_of(layer.attention), 2)
        hidden = torch.relu(plain_norm(x, layer.feed_forward_norm) @ layer.feed_forward.up.weight.T) ** 2
        x = x + hidden @ layer.feed_forward.down.weight.T
    torch.testing.assert_close(ours(video[None])[0], plain_norm(x, ours.norm), atol=1e-5, rtol=1e-5)
