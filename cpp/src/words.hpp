// Values and choices as Python's messages write them.
#pragma once

#include <string>
#include <vector>

namespace fleetnet {

/// Return text with the letters of ASCII in lower case.
std::string lower(std::string text);

/// Return UTF-8 text as Python's repr() writes it: quoted, with what cannot be printed escaped.
std::string repr(const std::string& text);

/// Return the shortest number that reads back as the same, as Python's repr() writes it.
std::string repr(double number);

/// Return a number with six digits at most, as Python's `f"{number:g}"`, in every locale.
std::string short_number(double number);

/// Whether Python's str.isprintable() would say so of UTF-8 text.
bool is_printable(const std::string& text);

/// Return text on one line, every run of spaces and line ends as one space.
std::string one_line(const std::string& text);

/// Return a number and its noun: `1 image`, `2,000 images`, `2 classes`.
std::string count(std::size_t number, const std::string& noun);

std::string joined(const std::vector<std::string>& words, const std::string& between);

/// Return `, did you mean 'x'?` for the known word closest to `word`, or nothing.
std::string nearest(const std::string& word, const std::vector<std::string>& known);

/// Throw Error(Code::argument) with the nearest and all known words, if `word` is none of them.
void check_known(const std::string& what, const std::string& word,
                 const std::vector<std::string>& known);

}  // namespace fleetnet
