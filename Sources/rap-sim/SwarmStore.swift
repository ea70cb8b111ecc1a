internal import FabricCommand
internal import Foundation
internal import Simulator

/// The files of a swarm in its corpus directory; both are appended to, and a killed program loses little.
final class SwarmStore {
    private let corpusFile: Int32
    private let progressFile: Int32
    private(set) var corpusCount: Int
    /// Seeds of the corpus from earlier swarms.
    let corpus: [UInt64]
    /// What an interrupted swarm had done.
    let results: [SwarmResult]
    private var lastSync = ChildPool.seconds

    init(directory: String, identity: SwarmIdentity, resuming: Bool) throws {
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw SearchFailure(description: "\(directory) can't be made; name another --corpus")
        }
        let corpusPath = "\(directory)/\(identity.scenario).corpus"
        let progressPath = "\(directory)/\(identity.scenario).progress"
        let kept = try Self.read(corpusPath) { bytes throws(SwarmFileError) in
            try SwarmFiles.corpus(bytes, scenario: identity.scenario).map(\.seed)
        }
        corpus = kept ?? []
        corpusCount = corpus.count
        results =
            resuming
            ? try Self.read(progressPath) { bytes throws(SwarmFileError) in
                try SwarmFiles.results(bytes, of: identity)
            } ?? [] : []
        corpusFile = try Self.open(corpusPath, emptying: false)
        progressFile = try Self.open(progressPath, emptying: !resuming)
        if kept == nil { try Self.append(corpusFile, SwarmFiles.corpusHeader(scenario: identity.scenario)) }
        if lseek(progressFile, 0, SEEK_END) == 0 { try Self.append(progressFile, SwarmFiles.header(identity)) }
    }

    deinit {
        close(corpusFile)
        close(progressFile)
    }

    func add(_ result: SwarmResult, new: [String]) throws {
        try Self.append(progressFile, SwarmFiles.line(result))
        if !new.isEmpty, corpusCount < SwarmFiles.maximumCorpus, !corpus.contains(result.seed) {
            try Self.append(corpusFile, SwarmFiles.corpusLine(seed: result.seed, adds: new))
            corpusCount += 1
        }
        if result.outcome != .held || ChildPool.seconds - lastSync > 1 { sync() }
    }

    func sync() {
        fsync(progressFile)
        fsync(corpusFile)
        lastSync = ChildPool.seconds
    }

    /// Nil when there is no such file, or an empty one.
    private static func read<T>(_ path: String, _ parse: ([UInt8]) throws(SwarmFileError) -> T) throws -> T? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let bytes = try InputFile.read(path, limit: 1 << 30)
        if bytes.isEmpty { return nil }
        do {
            return try parse(bytes)
        } catch {
            throw SearchFailure(description: "\(path): \(error)")
        }
    }

    private static func open(_ path: String, emptying: Bool) throws -> Int32 {
        let file = Foundation.open(path, O_RDWR | O_CREAT | O_CLOEXEC | (emptying ? O_TRUNC : 0), 0o644)
        guard file >= 0 else {
            throw SearchFailure(description: "\(path) can't be written: \(String(cString: strerror(errno)))")
        }
        // A killed program may have left half a line; what comes next must begin a new one.
        var size = lseek(file, 0, SEEK_END)
        var byte: UInt8 = 0x0A
        while size > 0, pread(file, &byte, 1, size - 1) == 1, byte != 0x0A { size -= 1 }
        ftruncate(file, size)
        lseek(file, size, SEEK_SET)
        return file
    }

    private static func append(_ file: Int32, _ text: String) throws {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            guard count > 0 else {
                throw SearchFailure(
                    description: "the swarm's files can't be written: \(String(cString: strerror(errno)))")
            }
            bytes = bytes.dropFirst(count)
        }
    }
}
