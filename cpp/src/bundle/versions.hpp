// Reading manifests of older versions and of newer minor versions.
#pragma once

#include "bundle/json.hpp"

namespace fleetnet {

/// Bring a manifest's values into the form of version 2.0.
///
/// Returns whether the version is newer, so that it may have unknown fields. Throws Wrong for a
/// version that is not read here, or artifacts that are not as in version 1.
bool to_current(Json& manifest);

}  // namespace fleetnet
