// Patterns of file names, by the rules of Python's fnmatch and glob.
#pragma once

#include <string>
#include <vector>

namespace fleetnet::command {

bool has_magic(const std::string& pattern);

/// Tell whether a whole name matches a pattern of `*`, `?`, `[a-z]` and `[!a-z]`.
bool name_matches(const std::string& name, const std::string& pattern);

/// Tell whether a path's parts match a glob's, where `**` is any number of parts.
bool parts_match(const std::vector<std::string>& names, const std::vector<std::string>& patterns);

/// Return what matches a glob without `**`, as `glob.glob` does, in no order.
std::vector<std::string> glob(const std::string& pattern);

}  // namespace fleetnet::command
