#include "left_out.hpp"

#include <algorithm>
#include <iterator>
#include <vector>

#include "paths.hpp"
#include "words.hpp"

namespace fleetnet::command {

namespace {

/// Folders of operating systems, archives, network disks and notebooks, in lower case.
constexpr const char* system_folders[] = {
    "__macosx",
    "lost.dir",
    "lost+found",
    "found.000",
    "$recycle.bin",
    "@eadir",
    "@tmp",
    "@recycle",
    "#recycle",
    "#snapshot",
    "@recently-snapshot",
    "system volume information",
    ".ipynb_checkpoints",
    "__pycache__",
};
constexpr const char* system_files[] = {".ds_store", ".localized", "thumbs.db", "ehthumbs.db",
                                        "desktop.ini"};
constexpr std::size_t longest_ending = 10;  // with its dot; longer ones are part of the name
constexpr std::size_t endings_shown = 6;

template <std::size_t length>
bool is_one_of(const std::string& name, const char* const (&names)[length]) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

}  // namespace

bool LeftOut::passes_over(const std::string& name) {
    const std::string folding = bytes_of(folded(text_of(name)));
    if (is_one_of(folding, system_folders)) {
        ++system_folders_[text_of(name)];
        return true;
    }
    // Files of the operating system, and in which macOS keeps attributes, are never photographs.
    if (is_one_of(folding, system_files) || folding.compare(0, 2, "._") == 0) return true;
    if (folding.empty() || folding[0] != '.') return false;
    ++hidden_;
    return true;
}

void LeftOut::add_file(const std::string& name) {
    Text ending = lower(text_of(suffix_of(name)));
    const bool plain = ending.size() > 1 && ending.size() <= longest_ending &&
                       std::all_of(ending.begin() + 1, ending.end(), is_alphanumeric);
    ++endings_[plain ? ending : Text()];
}

std::string LeftOut::endings() const {
    if (endings_.empty()) return "";
    std::vector<std::pair<Text, std::size_t>> kinds(endings_.begin(), endings_.end());
    std::stable_sort(kinds.begin(), kinds.end(),
                     [](const auto& one, const auto& other) { return one.second > other.second; });
    std::string words;
    std::size_t others = 0;
    for (std::size_t place = 0; place < kinds.size(); ++place) {
        const auto& [ending, number] = kinds[place];
        if (place >= endings_shown) {
            others += number;
            continue;
        }
        words += (words.empty() ? "" : ", ") + grouped(number) + " " +
                 (ending.empty() ? "without an ending" : bytes_of(ending));
    }
    if (others > 0) words += ", " + grouped(others) + " others";
    return words + " (no images by their names)";
}

std::string LeftOut::line() const {
    std::vector<std::string> found = {endings()};
    if (special_ > 0) found.push_back(count(special_, "pipe") + " or the like");
    if (links_ > 0) {
        found.push_back(count(links_, "link") + " to folders that are looked into already");
    }
    if (hidden_ > 0) found.push_back(grouped(hidden_) + " hidden");
    std::string folders;
    for (const auto& [name, number] : system_folders_) {
        folders += (folders.empty() ? "" : ", ") + bytes_of(name);
    }
    if (!folders.empty()) found.push_back("the system's own " + folders);
    std::string line;
    for (const std::string& part : found) {
        if (!part.empty()) line += (line.empty() ? "" : "; ") + part;
    }
    return line;
}

}  // namespace fleetnet::command
