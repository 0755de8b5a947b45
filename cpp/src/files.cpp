#include "files.hpp"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>

namespace fleetnet {
namespace {

namespace fs = std::filesystem;

/// Large enough for the disk, small enough to be hashed while it is in the processor's cache.
constexpr std::size_t kPiece = std::size_t{1} << 18;

struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
};

std::unique_ptr<std::FILE, Close> opened(const fs::path& path) {
#ifdef _WIN32
    std::FILE* file = _wfopen(path.c_str(), L"rbN");
#else
    std::FILE* file = std::fopen(path.c_str(), "rbe");
#endif
    if (!file) throw std::system_error(errno, std::generic_category());
    std::setvbuf(file, nullptr, _IONBF, 0);
    return std::unique_ptr<std::FILE, Close>(file);
}

}  // namespace

fs::path path_of(const std::string& text) {
#ifdef _WIN32
    return fs::u8path(text);
#else
    return fs::path(text);
#endif
}

std::string text_of(const fs::path& path) {
#ifdef _WIN32
    return path.u8string();
#else
    return path.string();
#endif
}

std::string normal(const std::string& path) {
    fs::path made;
    const fs::path given = path_of(path);
    for (const fs::path& part : given) {
        if (!part.empty() && part != ".") made /= part;
    }
    made.make_preferred();
    return made.empty() ? "." : text_of(made);
}

void read_pieces(const fs::path& path,
                 const std::function<void(const std::uint8_t*, std::size_t)>& take) {
    const auto file = opened(path);
    std::vector<std::uint8_t> piece(kPiece);
    while (true) {
        errno = 0;
        const std::size_t size = std::fread(piece.data(), 1, piece.size(), file.get());
        if (size > 0) take(piece.data(), size);
        if (size < piece.size()) {
            if (std::ferror(file.get())) throw std::system_error(errno, std::generic_category());
            return;
        }
    }
}

std::string said(const std::error_code& code) { return code.message(); }

}  // namespace fleetnet
