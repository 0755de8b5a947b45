// From files to answers: reading, decoding, resizing and inference overlap on a pool of threads, in
// bounded memory, with the answers in the images' order.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "classifier.hpp"

namespace fleetnet {

struct PipelineOptions {
    int top_k = 5;
    int batch_size = 1;
    int workers = 0;  ///< threads that read, decode and resize; 0: the caller's only
};

/// Answer the images that `next` names until it returns none; `take` gets the answers in order.
///
/// An image that cannot be read gets a prediction with its error. `next` and `take` are called in
/// the calling thread. What they throw ends the run after the answers to earlier images, and is
/// thrown again.
void predict(const Classifier& classifier, const PipelineOptions& options,
             const std::function<std::optional<std::string>()>& next,
             const std::function<void(Prediction)>& take);

}  // namespace fleetnet
