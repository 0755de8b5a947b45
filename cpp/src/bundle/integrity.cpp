#include "bundle/integrity.hpp"

#include <algorithm>
#include <cstdlib>
#include <system_error>

#include "error.hpp"
#include "files.hpp"
#include "sha256.hpp"

namespace fleetnet {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

/// The folder in which the Python package keeps bundles that can be made again.
fs::path cache_folder() {
    const std::string chosen = variable("FLEETNET_CACHE");
    if (!chosen.empty()) return path_of(normal(chosen));
#if defined(_WIN32)
    return path_of(variable("LOCALAPPDATA")) / "fleetnet" / "fleetnet" / "Cache";
#elif defined(__APPLE__)
    return path_of(variable("HOME")) / "Library" / "Caches" / "fleetnet";
#else
    const std::string base = variable("XDG_CACHE_HOME");
    const fs::path cache = base.empty() ? path_of(variable("HOME")) / ".cache" : path_of(base);
    return cache / "fleetnet";
#endif
}

bool is_within(const fs::path& path, const fs::path& folder) {
    auto part = path.begin();
    for (const fs::path& each : folder) {
        if (part == path.end() || *part++ != each) return false;
    }
    return true;
}

/// What to do about a damaged file.
std::string way_out(const fs::path& folder) {
    if (is_within(folder, cache_folder())) {
        return "remove " + text_of(folder) + ", and it is made anew";
    }
    return "copy or export the bundle anew";
}

}  // namespace

Content checked(const std::string& folder_name, const ArtifactFile& file) {
    const fs::path folder = path_of(folder_name);
    const fs::path path = folder / path_of(file.name);
    std::error_code gone;
    if (fs::is_symlink(path, gone) || !fs::is_regular_file(path, gone)) {
        throw WrongFile(text_of(path) + " is missing: the bundle is incomplete; " +
                        way_out(folder));
    }
    auto content = std::make_shared<std::vector<std::uint8_t>>();
    std::uint64_t size = 0;
    Sha256 hash;
    try {
        // A file that is longer than it should be is only hashed: it may be of any size.
        content->reserve(
            static_cast<std::size_t>(std::min<std::uintmax_t>(file.bytes, fs::file_size(path))));
        read_pieces(path, [&](const std::uint8_t* piece, std::size_t length) {
            hash.add(piece, length);
            size += length;
            if (size <= file.bytes) content->insert(content->end(), piece, piece + length);
        });
    } catch (const std::system_error& error) {
        throw WrongFile("cannot read " + text_of(path) + ": " + said(error.code()));
    }
    const std::string digest = hash.hex();
    if (digest != file.sha256) {
        throw WrongFile(text_of(path) + " is not the file that was exported: its SHA-256 is " +
                        digest.substr(0, 12) + "…, the manifest says " + file.sha256.substr(0, 12) +
                        "…; " + way_out(folder));
    }
    // The right file, of which the manifest says a wrong size: the hash is what counts.
    if (size > file.bytes) return checked(folder_name, {file.name, file.sha256, size});
    return content;
}

}  // namespace fleetnet
