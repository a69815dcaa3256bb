"""The log-mel spectrogram: frames, filters, and a tone where it belongs."""

import math

import pytest
import torch

from dashfx.data.readers.logmel import log_mel, mel_filters

RATE = 22050


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 5000.0])
def test_a_tone_is_loudest_in_its_band(hertz: float) -> None:
    spectrum = log_mel(torch.sin(2 * math.pi * hertz * torch.arange(RATE) / RATE), RATE)
    assert spectrum.shape == (96, 101)
    mel, top = (2595 * math.log10(1 + f / 700) for f in (hertz, RATE / 2))
    assert abs(int(spectrum[:, 50].argmax()) - (mel / top * 97 - 1)) <= 1
    assert float(spectrum.max() - spectrum.min()) == pytest.approx(80, abs=1e-3)


def test_ten_times_the_sound_is_twenty_decibels_more() -> None:
    wave = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_mel(10 * wave, RATE), log_mel(wave, RATE) + 20, atol=1e-3, rtol=0)


def test_filters_are_triangles_that_overlap_by_half() -> None:
    filters = mel_filters(20, 1920, RATE)
    inside = (torch.linspace(0, RATE / 2, 961) > 300) & (torch.linspace(0, RATE / 2, 961) < 8000)
    torch.testing.assert_close(filters.sum(0)[inside], torch.ones(int(inside.sum())), atol=1e-4, rtol=0)
    assert (filters.amax(1) <= 1).all() and (filters >= 0).all()


def test_a_sound_shorter_than_a_window_has_frames_too() -> None:
    assert log_mel(torch.ones(500), RATE).shape == (96, 3)
