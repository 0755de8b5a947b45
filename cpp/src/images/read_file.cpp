#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "images/image.hpp"
#include "images/limits.hpp"

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#include <sys/stat.h>

#include <filesystem>
#else
#include <sys/stat.h>
#endif

namespace fleetnet {
namespace {

struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Close>;

std::FILE* open_file(const std::string& path) {
#ifdef _WIN32
    return _wfopen(std::filesystem::u8path(path).c_str(), L"rb");
#else
    return std::fopen(path.c_str(), "rb");
#endif
}

/// How many bytes a file says it has; 0 for a pipe, which does not say.
std::size_t stated_size(std::FILE* file) {
#ifdef _WIN32
    struct _stat64 about;
    const bool known = _fstat64(_fileno(file), &about) == 0;
#else
    struct stat about;
    const bool known = fstat(fileno(file), &about) == 0;
#endif
    return known && about.st_size > 0 ? static_cast<std::size_t>(about.st_size) : 0;
}

Error system_error(int number) { return image_error(std::strerror(number)); }

/// Read up to one byte more than is allowed, which tells that there is more.
std::vector<std::uint8_t> content(std::FILE* file) {
    constexpr std::size_t first = std::size_t{1} << 16;
    const std::size_t size = stated_size(file);
    std::vector<std::uint8_t> data((size && size < max_bytes ? size
                                    : size                   ? max_bytes
                                                             : first) +
                                   1);
    std::size_t filled = 0;
    while (true) {
        const std::size_t got = std::fread(data.data() + filled, 1, data.size() - filled, file);
        filled += got;
        if (got == 0) {
            if (!std::ferror(file)) break;
            if (errno != EINTR) throw system_error(errno);
            std::clearerr(file);
        }
        if (filled > max_bytes) break;
        if (filled == data.size()) data.resize(std::min(data.size() * 2, max_bytes + 1));
    }
    data.resize(filled);
    return data;
}

}  // namespace

std::vector<std::uint8_t> read_image_file(const std::string& path) {
    std::vector<std::uint8_t> data;
    if (path == "-") {
#ifdef _WIN32
        _setmode(_fileno(stdin), _O_BINARY);
#endif
        data = content(stdin);
    } else {
        errno = 0;
        const File file(open_file(path));
        if (!file) throw system_error(errno);
        std::setvbuf(file.get(), nullptr, _IONBF, 0);
        data = content(file.get());
    }
    if (data.empty()) throw image_error("the file is empty");
    if (data.size() > max_bytes)
        throw image_error("the file is larger than " + std::to_string(max_bytes >> 20) + " MiB");
    return data;
}

}  // namespace fleetnet
