#include "numbers.hpp"

#include <charconv>
#include <cmath>

namespace fleetnet::command {

std::string fixed(double number, int decimals) {
    if (std::isnan(number)) return "nan";
    if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
    char text[400];
    const auto [end, error] =
        std::to_chars(text, text + sizeof text, number, std::chars_format::fixed, decimals);
    return std::string(text, end);
}

std::string repr(double number) {
    if (std::isnan(number)) return "NaN";  // as JSON has them
    if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
    char text[64];
    const auto scientific =
        std::to_chars(text, text + sizeof text, number, std::chars_format::scientific);
    const std::string whole(text, scientific.ptr);
    const std::size_t e = whole.find('e');
    int exponent = 0;
    const std::size_t sign = whole[e + 1] == '+' ? 1 : 0;
    std::from_chars(whole.data() + e + 1 + sign, whole.data() + whole.size(), exponent);
    // Like C's, Python's exponents have two digits at least.
    if (exponent < -4 || exponent >= 16) return whole;
    const auto plain = std::to_chars(text, text + sizeof text, number, std::chars_format::fixed);
    std::string result(text, plain.ptr);
    if (result.find('.') == std::string::npos) result += ".0";
    return result;
}

}  // namespace fleetnet::command
