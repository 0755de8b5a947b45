#include "paths.hpp"

#include <algorithm>
#include <system_error>

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/stat.h>
#endif

namespace fleetnet::command {

namespace fs = std::filesystem;

namespace {

#ifdef _WIN32
constexpr char separator = '\\';
#else
constexpr char separator = '/';
#endif

std::string string_of(const fs::path& path) {
#ifdef _WIN32
    return path.u8string();
#else
    return path.string();
#endif
}

/// Return how many bytes at the beginning are the drive or the share, without its separator.
std::size_t drive_length(const std::string& path) {
#ifdef _WIN32
    if (path.size() >= 2 && path[1] == ':') return 2;
    if (path.size() > 2 && is_separator(path[0]) && is_separator(path[1]) &&
        !is_separator(path[2])) {
        const std::size_t server = path.find_first_of("/\\", 2);
        if (server == std::string::npos) return 0;
        const std::size_t share = path.find_first_of("/\\", server + 1);
        return share == std::string::npos ? path.size() : share;
    }
#else
    (void)path;
#endif
    return 0;
}

/// Return the root as Python shows it: `/`, `C:\`, `C:`, `\\server\share\`, or nothing.
std::string root_of(const std::string& path) {
    const std::size_t drive = drive_length(path);
    std::string root = path.substr(0, drive);
    std::replace(root.begin(), root.end(), '/', separator);
    if (drive < path.size() && is_separator(path[drive])) {
        std::size_t slashes = drive;
        while (slashes < path.size() && is_separator(path[slashes])) ++slashes;
        // POSIX leaves the meaning of exactly two open, and Python leaves them.
        const bool two = separator == '/' && slashes == 2;
        root += two ? std::string(2, separator) : std::string(1, separator);
    } else if (drive > 2) {
        root += separator;
    }
    return root;
}

std::string absolute(const std::string& path) {
    std::error_code failed;
    const fs::path whole = fs::absolute(native_path(path), failed);
    return failed ? path : string_of(whole.lexically_normal());
}

}  // namespace

fs::path native_path(const std::string& path) {
#ifdef _WIN32
    return fs::u8path(path);
#else
    return fs::path(path);
#endif
}

bool is_separator(char sign) { return sign == '/' || sign == separator; }

std::vector<std::string> parts_of(const std::string& path) {
    std::vector<std::string> parts;
    const std::string root = root_of(path);
    if (!root.empty()) parts.push_back(root);
    std::string part;
    const auto end_part = [&] {
        if (!part.empty() && part != ".") parts.push_back(part);
        part.clear();
    };
    for (std::size_t place = drive_length(path); place < path.size(); ++place) {
        if (is_separator(path[place])) {
            end_part();
        } else {
            part.push_back(path[place]);
        }
    }
    end_part();
    return parts;
}

std::string path_of(const std::vector<std::string>& parts) {
    std::string path;
    for (const std::string& part : parts) {
        const bool after_root = path.empty() || is_separator(path.back()) ||
                                (path.size() == 2 && drive_length(path) == 2);
        path += (after_root ? "" : std::string(1, separator)) + part;
    }
    return path.empty() ? "." : path;
}

std::string normal(const std::string& path) { return path_of(parts_of(path)); }

std::string join(const std::string& folder, const std::string& name) {
    const bool joined = folder.empty() || is_separator(folder.back());
    return folder + (joined ? "" : std::string(1, separator)) + name;
}

std::pair<std::string, std::string> split(const std::string& path) {
    std::size_t begin = path.size();
    const std::size_t drive = drive_length(path);
    while (begin > drive && !is_separator(path[begin - 1])) --begin;
    std::size_t end = begin;
    while (end > drive && is_separator(path[end - 1])) --end;
    // The root keeps its separators.
    return {path.substr(0, end == drive ? begin : end), path.substr(begin)};
}

std::string suffix_of(const std::string& name) {
    const std::size_t dot = name.rfind('.');
    if (dot == std::string::npos || dot == 0 || dot + 1 == name.size()) return "";
    return name.substr(dot);
}

bool is_file(const std::string& path) {
    std::error_code failed;
    return fs::is_regular_file(native_path(path), failed);
}

bool is_folder(const std::string& path) {
    std::error_code failed;
    return fs::is_directory(native_path(path), failed);
}

bool is_link(const std::string& path) {
    std::error_code failed;
    return fs::is_symlink(native_path(path), failed);
}

bool exists(const std::string& path) {
    std::error_code failed;
    return fs::exists(native_path(path), failed);
}

bool is_taken(const std::string& path) {
    std::error_code failed;
    return fs::exists(fs::symlink_status(native_path(path), failed));
}

std::optional<Identity> identity_of(const std::string& folder) {
#ifdef _WIN32
    const HANDLE handle = CreateFileW(native_path(folder).c_str(), 0,
                                      FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                                      nullptr, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, nullptr);
    if (handle == INVALID_HANDLE_VALUE) return std::nullopt;
    BY_HANDLE_FILE_INFORMATION found;
    const bool known = GetFileInformationByHandle(handle, &found) != 0;
    CloseHandle(handle);
    if (!known) return std::nullopt;
    return Identity(found.dwVolumeSerialNumber,
                    static_cast<std::uint64_t>(found.nFileIndexHigh) << 32 | found.nFileIndexLow);
#else
    struct stat status;
    if (stat(folder.c_str(), &status) != 0) return std::nullopt;
    return Identity(status.st_dev, status.st_ino);
#endif
}

std::vector<Identity> above(const std::string& folder) {
    std::error_code failed;
    const fs::path real = fs::canonical(native_path(folder), failed);
    std::vector<Identity> found;
    for (const std::string& start : {absolute(folder), failed ? std::string() : string_of(real)}) {
        std::vector<std::string> parts = parts_of(start);
        while (parts.size() > 1) {
            parts.pop_back();
            if (const auto identity = identity_of(path_of(parts))) found.push_back(*identity);
        }
    }
    return found;
}

std::optional<std::vector<std::string>> names_in(const std::string& folder) {
    std::error_code failed;
    std::vector<std::string> names;
    fs::directory_iterator entries(native_path(folder), failed);
    for (; !failed && entries != fs::directory_iterator(); entries.increment(failed)) {
        names.push_back(string_of(entries->path().filename()));
    }
    if (failed) return std::nullopt;
    return names;
}

}  // namespace fleetnet::command
