// From logits to probabilities.
#pragma once

#include <vector>

#include "bundle/bundle.hpp"

namespace fleetnet {

/// Return the probability of each class, as a bundle's manifest defines them.
///
/// Computed in double precision, as Python does; the last step to float hides what the systems'
/// exponentials differ in.
std::vector<float> to_probabilities(const std::vector<float>& logits, Activation activation,
                                    double temperature);

/// Return how certain the network is of an image, as one number; higher is more certain.
///
/// `logits` are as the network gives them; `temperature` is for Certainty::probability alone.
float certainty(const std::vector<float>& logits, Certainty score, double temperature);

/// Whether an answer is rejected: its score is below the threshold, or is not a number.
bool is_rejected(float score, double threshold);

}  // namespace fleetnet
