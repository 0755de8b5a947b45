// Names of classes that a user brings in a file.
#pragma once

#include <string>
#include <vector>

namespace fleetnet::command {

/// Read the names of so many classes: one a line in order, or `id name` with ids from 0.
///
/// Throws Error(Code::data): the file cannot be read, is no text, or has another number of names.
std::vector<std::string> read_labels(const std::string& path, std::size_t classes);

}  // namespace fleetnet::command
