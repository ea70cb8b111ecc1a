import FabricCore

/// A disk in memory, without faults.
final class MemoryDisk: Disk {
    private var files: [String: File] = [:]

    final class File: DiskFile {
        var bytes: [UInt8] = []

        func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
            let start = min(Int(offset), bytes.count)
            let count = min(buffer.count, bytes.count - start)
            bytes.withUnsafeBytes {
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count]))
            }
            return count
        }

        func write(_ buffer: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
            let end = Int(offset) + buffer.count
            if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
            bytes.withUnsafeMutableBytes { target in
                UnsafeMutableRawBufferPointer(rebasing: target[Int(offset)..<end]).copyMemory(from: buffer)
            }
        }

        func truncate(to size: Int64) throws(DiskError) {
            if size < bytes.count {
                bytes.removeLast(bytes.count - Int(size))
            } else {
                bytes += [UInt8](repeating: 0, count: Int(size) - bytes.count)
            }
        }

        func sync() throws(DiskError) {}
        func size() throws(DiskError) -> Int64 { Int64(bytes.count) }
    }

    func open(_ name: String) throws(DiskError) -> any DiskFile {
        if let file = files[name] { return file }
        let file = File()
        files[name] = file
        return file
    }

    func delete(_ name: String) throws(DiskError) { files[name] = nil }
    func exists(_ name: String) -> Bool { files[name] != nil }
}

/// A store whose commits misbehave on demand; between them it is the real one.
final class FaultyStore: Store {
    enum Fault { case none, unavailable, unknownButCommitted, unknownAndLost }

    private let base: any Store
    /// Of the next transaction; then none.
    var next = Fault.none
    /// Every transaction that can is run twice, its first run rolled back: a conflict.
    var runsTwice = false

    init(_ base: any Store) { self.base = base }

    private struct Abort: Error {}

    func transaction<Result>(_ body: (any Transaction) throws -> Result) throws -> Result {
        let fault = next
        next = .none
        if fault == .unavailable { throw StoreError.unavailable("the test wants it") }
        if fault == .unknownAndLost || runsTwice {
            do {
                _ = try base.transaction { transaction in
                    _ = try body(transaction)
                    throw Abort()
                }
            } catch is Abort {}
        }
        if fault == .unknownAndLost { throw StoreError.unknownOutcome("the test wants it") }
        let result = try base.transaction(body)
        if fault == .unknownButCommitted { throw StoreError.unknownOutcome("the test wants it") }
        return result
    }
}
