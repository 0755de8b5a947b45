// Decodes files for comparison with Python, one line of standard input each:
//   decode SAMPLE_BITS FILE                             the whole picture
//   input INTERPOLATION RESIZE CROP EXACT SAMPLE_BITS FILE   a network's input
// SAMPLE_BITS 0: not given. The answer to each: "ok WIDTH HEIGHT\n" and the pixels, or
// "error MESSAGE\n".
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

#include "error.hpp"
#include "preprocess.hpp"

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

namespace {

using namespace fleetnet;

std::optional<int> bits_of(int number) {
    return number ? std::optional<int>(number) : std::nullopt;
}

void write(int width, int height, const std::uint8_t* pixels) {
    std::printf("ok %d %d\n", width, height);
    std::fwrite(pixels, 3, static_cast<std::size_t>(width) * static_cast<std::size_t>(height),
                stdout);
}

std::string rest_of(std::istream& line) {
    std::string path;
    std::getline(line >> std::ws, path);
    return path;
}

void answer(std::istringstream& line) {
    std::string what;
    line >> what;
    if (what == "decode") {
        int bits = 0;
        line >> bits;
        const auto data = read_image_file(rest_of(line));
        OpenImage image(data, bits_of(bits));
        const Pixels pixels = image.decode();
        write(pixels.width, pixels.height, pixels.rgb.data());
        return;
    }
    Preprocess preprocess;
    int interpolation = 0, exact = 1, bits = 0;
    line >> interpolation >> preprocess.resize >> preprocess.crop >> exact >> bits;
    preprocess.interpolation = static_cast<fleetnet_filter>(interpolation);
    preprocess.sample_bits = bits_of(bits);
    const auto data = read_image_file(rest_of(line));
    std::vector<std::uint8_t> out(preprocess.input_bytes());
    preprocess.input_of(data, exact != 0, out.data());
    write(preprocess.crop, preprocess.crop, out.data());
}

}  // namespace

int main() {
#ifdef _WIN32
    // Pixels and paths as they are: text would get other line ends.
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    std::string text;
    while (std::getline(std::cin, text)) {
        std::istringstream line(text);
        try {
            answer(line);
        } catch (const std::exception& error) {
            std::printf("error %s\n", error.what());
        }
        std::fflush(stdout);
    }
    return 0;
}
