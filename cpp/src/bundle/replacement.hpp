// Reading a bundle while it may be replaced: all of the old one, or all of the new one.
#pragma once

#include <functional>

#include "bundle/bundle.hpp"

namespace fleetnet {

/// Use a bundle's files, or those of the bundle that replaced it, which `bundle` then is.
///
/// If a file is not the one that the manifest describes, the bundle may have been replaced since
/// the manifest was read. Then the manifest is read once more, and `use` is called again; also, but
/// only once, if the manifest is the same: in between, another bundle may have come and gone.
///
/// Throws as `use`, if the bundle was not replaced, or was replaced at every try.
void while_replaced(Bundle& bundle, const std::function<void(const Bundle&)>& use);

}  // namespace fleetnet
