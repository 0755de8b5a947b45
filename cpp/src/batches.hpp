// Several images at once, in memory or in files.
#pragma once

#include <functional>
#include <vector>

#include "classifier.hpp"

namespace fleetnet {

/// Writes an image's crop × crop RGB triples to where it is told; throws Error.
using Input = std::function<void(std::uint8_t* out)>;

/// Answer images in order, `batch_size` of them at once, and as many batches as the engine
/// computes.
///
/// An image whose input throws Error(Code::image) gets a prediction with that error.
std::vector<Prediction> answer_all(const Classifier& classifier, const std::vector<Input>& inputs,
                                   std::size_t batch_size, int top_k);

}  // namespace fleetnet
