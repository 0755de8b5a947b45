// Gives each file of some folders to a target once, without libFuzzer.
#include <algorithm>
#include <cstdio>

#include "files.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

int main(int count, char** folders) {
    std::vector<std::filesystem::path> files;
    for (int place = 1; place < count; ++place) {
        for (const auto& entry : std::filesystem::directory_iterator(folders[place])) {
            files.push_back(entry.path());
        }
    }
    std::sort(files.begin(), files.end());
    for (const auto& file : files) {
        std::vector<std::uint8_t> content;
        fleetnet::read_pieces(file, [&](const std::uint8_t* piece, std::size_t size) {
            content.insert(content.end(), piece, piece + size);
        });
        // Before it: what goes wrong may end the process.
        std::printf("%s\n", fleetnet::text_of(file.filename()).c_str());
        std::fflush(stdout);
        LLVMFuzzerTestOneInput(content.data(), content.size());
    }
    std::printf("%zu files\n", files.size());
    return files.empty() ? 1 : 0;
}
