// Paths and files. Paths are UTF-8 on Windows, the bytes that the system gives elsewhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace fleetnet {

std::filesystem::path path_of(const std::string& text);
std::string text_of(const std::filesystem::path& path);

/// Return a path as Python's pathlib shows it: no double slashes, no `.`, no slash at the end.
std::string normal(const std::string& path);

/// Read a file in pieces; throws std::system_error.
void read_pieces(const std::filesystem::path& path,
                 const std::function<void(const std::uint8_t* piece, std::size_t size)>& take);

/// What a system error says, as Python's OSError.strerror.
std::string said(const std::error_code& code);

}  // namespace fleetnet
