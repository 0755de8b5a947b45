// Checking that a graph is the one that the manifest describes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bundle/bundle.hpp"

namespace fleetnet {

/// The sides of a graph's input or output; nothing for one that is free.
using Sides = std::vector<std::optional<std::int64_t>>;

/// Refuse a graph that does not take the images that the manifest describes.
///
/// `path` is the graph's, for the message; `shape` that of its first input without the batch.
/// Throws Error(Code::bundle).
void check_graph(const Bundle& bundle, const std::string& path, std::size_t inputs,
                 const Sides& shape, bool gives_logits);

/// Refuse answers that are not one logit for each class.
void check_answers(const Bundle& bundle, std::int64_t logits_per_image);

}  // namespace fleetnet
