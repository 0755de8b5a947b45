// Numbers as Python writes them.
#pragma once

#include <string>

namespace fleetnet::command {

/// Return `repr(number)`: the shortest digits that are read back as the same number.
std::string repr(double number);

/// Return `f"{number:.{decimals}f}"`.
std::string fixed(double number, int decimals);

}  // namespace fleetnet::command
