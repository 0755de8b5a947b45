// Names the most probable classes of each image: classify IMAGE...
//
// An image is upright, in any format that ImageIO reads. model.mlpackage lies in this folder.
import CoreGraphics
import CoreML
import CoreVideo
import FleetnetCore
import Foundation
import ImageIO

struct Failure: Error, CustomStringConvertible {
    let description: String
}

/// Upright RGB in rows.
struct Picture {
    let rgb: [UInt8]
    let width: Int
    let height: Int

    /// Decodes a file at full size, without colour management: drawn in its own colours.
    init(path: String) throws {
        let url = URL(fileURLWithPath: path) as CFURL
        guard let source = CGImageSourceCreateWithURL(url, nil),
            let image = CGImageSourceCreateImageAtIndex(source, 0, nil)
        else { throw Failure(description: "\(path) is no image that can be read") }
        let ownSpace = image.colorSpace.flatMap { $0.model == .rgb ? $0 : nil }
        let (width, height) = (image.width, image.height)
        var rgba = [UInt8](repeating: 0, count: 4 * width * height)
        let drawn = rgba.withUnsafeMutableBytes { bytes -> Bool in
            guard
                let context = CGContext(
                    data: bytes.baseAddress, width: width, height: height, bitsPerComponent: 8,
                    bytesPerRow: 4 * width, space: ownSpace ?? CGColorSpaceCreateDeviceRGB(),
                    bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            else { return false }
            context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
            return true
        }
        guard drawn else { throw Failure(description: "\(path) cannot be decoded") }
        var rgb = [UInt8](repeating: 0, count: 3 * width * height)
        for pixel in 0..<width * height {
            for colour in 0..<3 { rgb[3 * pixel + colour] = rgba[4 * pixel + colour] }
        }
        self.rgb = rgb
        self.width = width
        self.height = height
    }

    /// Resizes and crops as Python does, to the bit, into what Core ML takes.
    func input() throws -> CVPixelBuffer {
        let crop = Int(Model.preprocess.crop)
        var preprocess = Model.preprocess
        var pixels = [UInt8](repeating: 0, count: 3 * crop * crop)
        let status = fleetnet_make_input(
            &preprocess, rgb, Int32(width), Int32(height), nil, &pixels)
        guard status == FLEETNET_OK else { throw Failure(description: "it cannot be resized") }
        var made: CVPixelBuffer?
        CVPixelBufferCreate(nil, crop, crop, kCVPixelFormatType_32BGRA, nil, &made)
        guard let buffer = made, CVPixelBufferLockBaseAddress(buffer, []) == kCVReturnSuccess,
            let base = CVPixelBufferGetBaseAddress(buffer)
        else { throw Failure(description: "there is no memory for its pixels") }
        defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
        for row in 0..<crop {
            let line = base.advanced(by: row * CVPixelBufferGetBytesPerRow(buffer))
                .assumingMemoryBound(to: UInt8.self)
            for column in 0..<crop {
                let from = 3 * (row * crop + column)
                for colour in 0..<3 { line[4 * column + 2 - colour] = pixels[from + colour] }
                line[4 * column + 3] = 255
            }
        }
        return buffer
    }
}

func probabilities(of logits: [Double]) -> [Double] {
    if Model.sigmoid { return logits.map { 1 / (1 + exp(-$0 / Model.temperature)) } }
    let largest = logits.max() ?? 0
    let powers = logits.map { exp(($0 - largest) / Model.temperature) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
}

func classify(_ path: String, by network: MLModel) throws {
    let pixels = MLFeatureValue(pixelBuffer: try Picture(path: path).input())
    let given = try MLDictionaryFeatureProvider(dictionary: ["pixels": pixels])
    guard let found = try network.prediction(from: given).featureValue(for: "logits"),
        let values = found.multiArrayValue
    else { throw Failure(description: "the network gives no logits") }
    let top = probabilities(of: (0..<values.count).map { values[$0].doubleValue })
        .enumerated().sorted { $0.element > $1.element }.prefix(5)
    for (index, probability) in top {
        print("\(path): \(Model.classes[index]) \(String(format: "%.6f", probability))")
    }
}

do {
    let settings = MLModelConfiguration()
    settings.computeUnits = .cpuOnly  // 32 bits; with others it is faster, and answers differ
    let package = URL(fileURLWithPath: "model.mlpackage")
    let network = try MLModel(
        contentsOf: MLModel.compileModel(at: package), configuration: settings)
    for path in CommandLine.arguments.dropFirst() { try classify(path, by: network) }
} catch {
    FileHandle.standardError.write(Data("error: \(error)\n".utf8))
    exit(2)
}
