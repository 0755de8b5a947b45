#include "globs.hpp"

#include <algorithm>
#include <utility>

#include "paths.hpp"
#include "text.hpp"

namespace fleetnet::command {

namespace {

/// One sign of a name that matches: any, or one that is (not) in one of the ranges.
struct Piece {
    bool any_number = false;
    bool negated = false;
    std::vector<std::pair<char32_t, char32_t>> ranges;

    bool takes(char32_t sign) const {
        const bool inside = std::any_of(ranges.begin(), ranges.end(), [&](const auto& range) {
            return range.first <= sign && sign <= range.second;
        });
        return inside != negated;
    }
};

const Piece any_sign{false, true, {}};
const Piece any_signs{true, true, {}};

/// Read what is between brackets; a range from a later sign to an earlier one is none.
Piece set_of(Text inside) {
    Piece piece;
    if (!inside.empty() && inside[0] == U'!') {
        piece.negated = true;
        inside.erase(0, 1);
    }
    // A dash makes a range unless it is first or last, or follows a range.
    for (std::size_t place = 0; place < inside.size(); ++place) {
        if (place + 2 < inside.size() && inside[place + 1] == U'-') {
            if (inside[place] <= inside[place + 2]) {
                piece.ranges.emplace_back(inside[place], inside[place + 2]);
            }
            place += 2;
        } else {
            piece.ranges.emplace_back(inside[place], inside[place]);
        }
    }
    return piece;
}

std::vector<Piece> pieces_of(const Text& pattern) {
    std::vector<Piece> pieces;
    for (std::size_t place = 0; place < pattern.size(); ++place) {
        const char32_t sign = pattern[place];
        if (sign == U'*') {
            if (pieces.empty() || !pieces.back().any_number) pieces.push_back(any_signs);
            continue;
        }
        if (sign == U'?') {
            pieces.push_back(any_sign);
            continue;
        }
        if (sign == U'[') {
            std::size_t end = place + 1;
            if (end < pattern.size() && pattern[end] == U'!') ++end;
            end = pattern.find(U']', std::min(end + 1, pattern.size()));
            if (end != Text::npos) {
                pieces.push_back(set_of(pattern.substr(place + 1, end - place - 1)));
                place = end;
                continue;
            }
        }
        pieces.push_back({false, false, {{sign, sign}}});
    }
    return pieces;
}

bool match(const Text& name, const std::vector<Piece>& pieces) {
    std::size_t place = 0, piece = 0;
    // Where to go on if what follows the last star does not match.
    std::size_t star = pieces.size(), after_star = 0;
    while (place < name.size()) {
        if (piece < pieces.size() && pieces[piece].any_number) {
            star = piece++;
            after_star = place;
        } else if (piece < pieces.size() && pieces[piece].takes(name[place])) {
            ++piece;
            ++place;
        } else if (star < pieces.size()) {
            piece = star + 1;
            place = ++after_star;
        } else {
            return false;
        }
    }
    while (piece < pieces.size() && pieces[piece].any_number) ++piece;
    return piece == pieces.size();
}

/// On Windows, letter case and the kind of separator make no difference.
Text normal_case(const std::string& name) {
    Text text = text_of(name);
#ifdef _WIN32
    std::replace(text.begin(), text.end(), U'/', U'\\');
    return lower(std::move(text));
#else
    return text;
#endif
}

std::vector<std::string> matching_names(const std::string& folder, const std::string& pattern,
                                        bool only_folders) {
    std::vector<std::string> found;
    const auto pieces = pieces_of(normal_case(pattern));
    for (std::string& name :
         names_in(folder.empty() ? "." : folder).value_or(std::vector<std::string>())) {
        const bool hidden = name[0] == '.' && pattern[0] != '.';
        if (hidden || !match(normal_case(name), pieces)) continue;
        if (only_folders && !is_folder(join(folder, name))) continue;
        found.push_back(std::move(name));
    }
    return found;
}

std::vector<std::string> glob(const std::string& pattern, bool only_folders) {
    const auto [folder, name] = split(pattern);
    if (!has_magic(pattern)) {
        const bool there = name.empty() ? is_folder(folder) : is_taken(pattern);
        return there ? std::vector<std::string>{pattern} : std::vector<std::string>();
    }
    std::vector<std::string> folders = {folder};
    if (!folder.empty() && folder != pattern && has_magic(folder)) folders = glob(folder, true);
    std::vector<std::string> found;
    for (const std::string& one : folders) {
        if (has_magic(name)) {
            for (const std::string& match : matching_names(one, name, only_folders)) {
                found.push_back(join(one, match));
            }
        } else if (name.empty() ? is_folder(one) : is_taken(join(one, name))) {
            found.push_back(join(one, name));
        }
    }
    return found;
}

}  // namespace

bool has_magic(const std::string& pattern) {
    return pattern.find_first_of("*?[") != std::string::npos;
}

bool name_matches(const std::string& name, const std::string& pattern) {
    return match(normal_case(name), pieces_of(normal_case(pattern)));
}

bool parts_match(const std::vector<std::string>& names, const std::vector<std::string>& patterns) {
    // Which numbers of patterns may be used up by the names so far.
    std::vector<bool> places(patterns.size() + 1);
    places[0] = true;
    const auto skip = [&] {
        for (std::size_t place = 0; place < patterns.size(); ++place) {
            if (places[place] && patterns[place] == "**") places[place + 1] = true;
        }
    };
    skip();
    for (const std::string& name : names) {
        std::vector<bool> next(patterns.size() + 1);
        for (std::size_t place = 0; place < patterns.size(); ++place) {
            if (!places[place]) continue;
            if (patterns[place] == "**") {
                next[place] = true;
            } else if (name_matches(name, patterns[place])) {
                next[place + 1] = true;
            }
        }
        places = std::move(next);
        skip();
    }
    return places.back();
}

std::vector<std::string> glob(const std::string& pattern) { return glob(pattern, false); }

}  // namespace fleetnet::command
