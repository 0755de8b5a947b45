// The field `preprocess` of a manifest, which determines the answers.
#pragma once

#include "bundle/schema.hpp"
#include "preprocess.hpp"

namespace fleetnet {

/// Throws Wrong for a field that is missing, unknown or out of range: a host that cannot honour a
/// field refuses it rather than approximate it silently.
Preprocess read_preprocess(const Value& value);

}  // namespace fleetnet
