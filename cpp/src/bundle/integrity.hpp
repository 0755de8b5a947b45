// Checking that a bundle's files are the ones that were exported.
#pragma once

#include <string>

#include "bundle/bundle.hpp"

namespace fleetnet {

/// Read a file of a bundle's folder and compare its hash with the manifest's.
///
/// Throws WrongFile: it is missing, a link, unreadable, or has other content.
Content checked(const std::string& folder, const ArtifactFile& file);

}  // namespace fleetnet
