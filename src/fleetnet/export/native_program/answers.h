// From a picture to what the network takes, and from what it gives to probabilities.
#pragma once

#include <cstdint>
#include <vector>

// Resizes and crops upright RGB pixels in rows as Python does, to the bit, to the pixels of
// model::batch images; those beyond the first are black. Throws std::runtime_error.
std::vector<std::uint8_t> input_of(const std::uint8_t *rgb, int width, int height);

// Returns model::class_count probabilities of so many logits.
std::vector<double> probabilities_of(const float *logits);
