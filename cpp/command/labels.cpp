#include "labels.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <system_error>

#include "error.hpp"
#include "paths.hpp"
#include "text.hpp"
#include "words.hpp"

namespace fleetnet::command {

namespace {

constexpr std::size_t max_bytes = std::size_t{64} << 20;
constexpr std::size_t longest_id = 9;

std::string content_of(const std::string& path) {
    const auto refuse = [&](int reason) {
        return Error(Code::data, "cannot read " + path + ": " + std::strerror(reason));
    };
    std::error_code failed;
    // Before it is opened: a pipe would wait for ever.
    const std::filesystem::file_status status = std::filesystem::status(native_path(path), failed);
    if (!std::filesystem::exists(status)) throw refuse(failed ? failed.value() : ENOENT);
    if (std::filesystem::is_directory(status)) throw refuse(EISDIR);
#ifdef _WIN32
    std::FILE* opened = _wfopen(native_path(path).c_str(), L"rb");
#else
    std::FILE* opened = std::fopen(path.c_str(), "rb");
#endif
    if (opened == nullptr) throw refuse(errno);
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(opened, std::fclose);
    std::string content;
    char piece[1 << 16];
    while (const std::size_t length = std::fread(piece, 1, sizeof piece, opened)) {
        content.append(piece, length);
        if (content.size() > max_bytes) {
            throw Error(Code::data, path + " is larger than 64 MiB: no list of names");
        }
    }
    if (std::ferror(opened)) throw refuse(errno);
    return content;
}

bool ends_line(char32_t sign) {
    return (sign >= 0xA && sign <= 0xD) || (sign >= 0x1C && sign <= 0x1E) || sign == 0x85 ||
           sign == 0x2028 || sign == 0x2029;
}

Text stripped(const Text& text) {
    const auto begin = std::find_if_not(text.begin(), text.end(), is_space);
    const auto end = std::find_if_not(text.rbegin(), std::make_reverse_iterator(begin), is_space);
    return Text(begin, end.base());
}

/// Return the lines that are not empty, without blanks around them.
std::vector<Text> lines_of(const Text& text) {
    std::vector<Text> lines;
    auto begin = text.begin();
    while (begin != text.end()) {
        const auto end = std::find_if(begin, text.end(), ends_line);
        Text line = stripped(Text(begin, end));
        if (!line.empty()) lines.push_back(std::move(line));
        begin = end == text.end() ? end : end + 1;
    }
    return lines;
}

struct Numbered {
    std::size_t id;
    Text name;
};

std::optional<Numbered> numbered(const Text& line) {
    const auto end = std::find_if(line.begin(), line.end(), is_space);
    const Text name = stripped(Text(end, line.end()));
    if (name.empty() || static_cast<std::size_t>(end - line.begin()) > longest_id) {
        return std::nullopt;
    }
    std::size_t id = 0;
    for (auto sign = line.begin(); sign != end; ++sign) {
        const int digit = decimal(*sign);
        if (digit < 0) return std::nullopt;
        id = id * 10 + static_cast<std::size_t>(digit);
    }
    return Numbered{id, name};
}

/// Return the names by their ids if every line has one and none is missing.
///
/// Throws Error(Code::data) if they count from 1.
std::optional<std::vector<Text>> names_by_id(const std::vector<Text>& lines,
                                             const std::string& path) {
    std::map<std::size_t, Text> by_id;
    for (const Text& line : lines) {
        std::optional<Numbered> one = numbered(line);
        if (!one) return std::nullopt;
        by_id[one->id] = std::move(one->name);
    }
    if (by_id.size() != lines.size()) return std::nullopt;
    const std::size_t first = by_id.begin()->first, last = by_id.rbegin()->first;
    if (last - first + 1 != lines.size() || first > 1) return std::nullopt;
    if (first == 1) {
        throw Error(Code::data, path + " counts its ids from 1: they must count from 0");
    }
    std::vector<Text> names;
    for (auto& [id, name] : by_id) names.push_back(std::move(name));
    return names;
}

}  // namespace

std::vector<std::string> read_labels(const std::string& given, std::size_t classes) {
    const std::string path = normal(given);
    const std::string content = content_of(path);
    std::string_view bytes = content;
    if (bytes.substr(0, 3) == "\xEF\xBB\xBF") bytes.remove_prefix(3);
    const Text text = text_of(bytes);
    const auto half = [](char32_t sign) { return sign >= 0xD800 && sign <= 0xDFFF; };
    if (std::any_of(text.begin(), text.end(), half)) {
        throw Error(Code::data, path + " is not UTF-8 text");
    }
    const std::vector<Text> lines = lines_of(text);
    if (lines.empty()) throw Error(Code::data, path + " names no classes");
    const std::vector<Text> names = names_by_id(lines, path).value_or(lines);
    if (names.size() != classes) {
        throw Error(Code::data, path + " names " + count(names.size(), "class") +
                                    ", but the model has " + std::to_string(classes) +
                                    ": give one name a line, or 'id name' with ids from 0");
    }
    std::vector<std::string> result;
    for (const Text& name : names) result.push_back(bytes_of(name));
    return result;
}

}  // namespace fleetnet::command
