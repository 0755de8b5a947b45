// Decoding where the conformance set has no picture: hostile files, and parts of pictures.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "error.hpp"
#include "images/image.hpp"

using namespace fleetnet;

namespace {

const std::string pictures = std::string(FLEETNET_CONFORMANCE) + "/pictures/";

std::string refusal(const std::vector<std::uint8_t>& file) {
    try {
        OpenImage(file).decode();
    } catch (const Error& error) {
        CHECK(error.code() == Code::image);
        return error.what();
    }
    return "";
}

std::vector<std::uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

/// Compare a part of a picture with the same part of the whole.
void check_part(const std::vector<std::uint8_t>& file, int shrink, const Region& part) {
    const Pixels whole = OpenImage(file).decode(shrink);
    const Pixels some = OpenImage(file).decode(shrink, &part);
    REQUIRE(whole.width == some.width);
    REQUIRE(whole.height == some.height);
    for (int y = part.top; y < part.bottom; y++) {
        const std::size_t from = static_cast<std::size_t>(part.left) * 3;
        const auto length = static_cast<std::size_t>(part.right - part.left) * 3;
        CHECK(std::memcmp(whole.row(y) + from, some.row(y) + from, length) == 0);
    }
}

}  // namespace

TEST_CASE("a part of a JPEG has the pixels of the whole, however it lies and is stored") {
    for (const char* name : {"jpeg-scaled-2", "jpeg-scaled-2-turned", "jpeg-scaled-2-grey",
                             "jpeg-scaled-2-progressive", "jpeg-scaled-4", "jpeg-scaled-8"}) {
        CAPTURE(name);
        const auto file = read_image_file(pictures + name + ".jpg");
        for (int shrink : {1, 2, 4, 8}) {
            CAPTURE(shrink);
            OpenImage image(file);
            const int width = (image.width() + shrink - 1) / shrink;
            const int height = (image.height() + shrink - 1) / shrink;
            check_part(file, shrink, {width / 3, height / 3, width / 3 + 1, height / 3 + 1});
            check_part(file, shrink, {width / 2, height / 4, width, height});
            check_part(file, shrink, {0, 0, width / 2, height / 2});
            check_part(file, shrink, {width / 3, 0, 2 * width / 3, height});
        }
    }
}

TEST_CASE("damage behind the part that is needed is found") {
    auto file = read_image_file(pictures + "jpeg-scaled-8.jpg");
    file.resize(file.size() * 9 / 10);
    const Region part{0, 0, 100, 100};
    OpenImage image(file);
    CHECK_THROWS_AS(image.decode(1, &part), Error);
}

TEST_CASE("a format that is known and not decoded is refused by its name") {
    const auto heif = bytes_of(std::string("\0\0\0\x18", 4) + "ftypheic" + std::string(16, '\0'));
    CHECK(refusal(heif) == "HEIF is not in this build of fleetnet: save the image as PNG");
}

TEST_CASE("a size is refused before memory is allocated for it") {
    CHECK(refusal(bytes_of("P5 9999999999 9999999999 255\n")) == "more than 89 million pixels");
    CHECK(refusal(bytes_of("P5 20000 5000 255\n")) == "20000×5000 is more than 89 million pixels");
    CHECK(refusal(bytes_of("P2 8000 5000 255\n")) ==
          "8000×5000 is more than 16 million pixels for a format that takes so long");
}

TEST_CASE("a file is read or said to be missing, a folder or empty") {
    const auto message = [](const std::string& path) -> std::string {
        try {
            read_image_file(path);
        } catch (const Error& error) {
            return error.what();
        }
        return "";
    };
    CHECK(message(pictures + "none.jpg") == "No such file or directory");
    CHECK(message(pictures + "bad-empty.png") == "the file is empty");
#ifndef _WIN32
    CHECK(message(pictures) == "Is a directory");
#endif
}
