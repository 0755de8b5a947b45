// Paths as Python's pathlib and os.path take them apart, and what they name on disk.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace fleetnet::command {

/// A path of ours, UTF-8 on Windows and bytes elsewhere, as the standard library has it.
std::filesystem::path native_path(const std::string& path);

bool is_separator(char sign);

/// Return `str(Path(path))`: no `./`, no doubled or trailing separators.
std::string normal(const std::string& path);

/// Return `Path(path).parts`; the first one is the root, if there is one.
std::vector<std::string> parts_of(const std::string& path);

/// Return `str(Path(*parts))`.
std::string path_of(const std::vector<std::string>& parts);

/// Return `os.path.join(folder, name)` of a name without a root.
std::string join(const std::string& folder, const std::string& name);

/// Return `os.path.split(path)`.
std::pair<std::string, std::string> split(const std::string& path);

/// Return the name's last ending with its dot, as `Path(name).suffix`.
std::string suffix_of(const std::string& name);

bool is_file(const std::string& path);
bool is_folder(const std::string& path);
bool is_link(const std::string& path);
bool exists(const std::string& path);
/// Tell whether there is anything of this name, such as a link to nothing.
bool is_taken(const std::string& path);

/// Identifies a folder, independent of the path to it.
using Identity = std::pair<std::uint64_t, std::uint64_t>;

/// None if it cannot be looked at.
std::optional<Identity> identity_of(const std::string& folder);

/// Return the identities of the folders that a folder is in.
std::vector<Identity> above(const std::string& folder);

/// Return the names in a folder, in no order; none if it cannot be read.
std::optional<std::vector<std::string>> names_in(const std::string& folder);

}  // namespace fleetnet::command
