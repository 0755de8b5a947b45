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

}  // namespace fleetnet
