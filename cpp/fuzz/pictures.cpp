// Any bytes as an image file: decoded, or refused in one line, and nothing else.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include "error.hpp"
#include "preprocess.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace fleetnet;
    if (size < 1) return 0;
    // The last byte chooses how the file is used, so that its first bytes are the format's.
    const int choice = data[size - 1];
    const Bytes file(data, size - 1);
    static std::uint8_t out[24 * 24 * 3];
    try {
        Preprocess preprocess;
        preprocess.resize = 27;
        preprocess.crop = 24;
        preprocess.interpolation = static_cast<fleetnet_filter>(choice % 3);
        if (choice & 64) preprocess.sample_bits = 12;
        OpenImage image(file, preprocess.sample_bits);
        // Large pictures are allowed, but take too long to find anything in.
        if (std::int64_t{image.width()} * image.height() > 1 << 20) return 0;
        if (choice & 128)
            image.decode(1 << (choice >> 2 & 3));
        else
            preprocess.input_of(file, choice & 32, out);
    } catch (const Error& error) {
        const std::string line = error.what();
        if (error.code() != Code::image || line.empty() || line.find('\n') != std::string::npos) {
            std::abort();
        }
    }
    return 0;
}
