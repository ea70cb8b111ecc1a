internal import CFabricSQLite
public import FabricCore
internal import GRDB

/// Reads a database in the bytes of its files, while the `SQLiteStore` that owns them goes on: it opens no file, asks no
/// disk, and leaves the store's connection alone. It sees what was committed, as a start of the store would find it.
///
/// ```
/// control.db ──────┐
///                  ├─▶ DatabaseImage: every page as of the last commit ─▶ a connection of its own that only reads
/// control.db-wal ──┘
/// ```
public final class SQLiteObserver {
    private let image = DatabaseImage()
    private var connection: (queue: DatabaseQueue, vfs: DiskVFS)?
    private let statements = StatementTable()

    public init() {}

    deinit { close() }

    /// Takes in what the files hold now; cheap when the log has only grown. `anew` says that they may have changed
    /// otherwise than by the store's writing. What is no database is found by `query`.
    public func look(main: [UInt8], log: [UInt8], anew: Bool) { image.take(main: main, log: log, anew: anew) }

    /// The rows as of the last `look`.
    public func query(_ sql: String) throws -> [SQLRow] {
        // Reading draws nothing; if it did, it would draw the same each time.
        fabric_sqlite_begin(1)
        defer { fabric_sqlite_end() }
        do {
            let (queue, vfs) = try current()
            vfs.forgetFailure()
            return try queue.unsafeRead { database in
                try database.beginTransaction(.deferred)
                let transaction = SQLiteTransaction(database, statements, vfs)
                defer {
                    transaction.end()
                    try? database.rollback()
                }
                return try transaction.query(sql, [])
            }
        } catch {
            close()
            throw error
        }
    }

    private func close() {
        statements.removeAll()
        try? connection?.queue.close()
        connection = nil
    }

    private func current() throws -> (queue: DatabaseQueue, vfs: DiskVFS) {
        if let connection { return connection }
        let name = "observed.db"
        let random = SeededRandom(seed: 0, stream: "observer")
        guard let vfs = DiskVFS(disk: image, name: name, random: random) else {
            throw StoreError.unavailable("SQLite takes no file names that are URIs, or there is no memory")
        }
        var configuration = Configuration()
        configuration.readonly = true
        configuration.allowsUnsafeTransactions = true
        configuration.prepareDatabase { database in
            try database.execute(
                sql: "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")
        }
        let queue = try DatabaseQueue(path: "file:\(name)?vfs=\(vfs.name)", configuration: configuration)
        connection = (queue, vfs)
        return (queue, vfs)
    }
}

/// All pages of a database as of the last commit in its write-ahead log, as a file of its own without a log.
///
/// The log's form is that of sqlite.org/fileformat2.html, section 4. A page's frame counts when its checksum goes on from
/// that of the frame before and a frame that commits follows: what a transaction left that did not commit is passed over.
final class DatabaseImage: Disk, DiskFile {
    private static let headerBytes = 32
    private static let frameHeaderBytes = 24

    private struct LogHeader: Equatable {
        var pageSize: Int
        var isBigEndian: Bool
        var salts: [UInt8]
        var sums: Sums
    }

    /// The two running sums of the log's checksums.
    private struct Sums: Equatable {
        var a: UInt32 = 0
        var b: UInt32 = 0

        /// Adds bytes, a multiple of 8.
        mutating func add(_ bytes: UnsafeRawBufferPointer, isBigEndian: Bool) {
            var index = 0
            while index + 8 <= bytes.count {
                let first = bytes.loadUnaligned(fromByteOffset: index, as: UInt32.self)
                let second = bytes.loadUnaligned(fromByteOffset: index + 4, as: UInt32.self)
                a = a &+ (isBigEndian ? UInt32(bigEndian: first) : UInt32(littleEndian: first)) &+ b
                b = b &+ (isBigEndian ? UInt32(bigEndian: second) : UInt32(littleEndian: second)) &+ a
                index += 8
            }
        }
    }

    private var bytes: [UInt8] = []
    private var header: LogHeader?
    /// Of the log: where what has not been read begins, and the sums up to there.
    private var position = 0
    private var sums = Sums()
    /// What the image says of itself so that a reader drops the pages that it remembers.
    private var version: UInt32 = 0

    func take(main: [UInt8], log: [UInt8], anew: Bool) {
        log.withUnsafeBytes { log in
            let found = DatabaseImage.readHeader(log)
            if anew || found == nil || found != header || log.count < position {
                bytes = main
                header = found
                position = DatabaseImage.headerBytes
                sums = found?.sums ?? Sums()
            }
            if let found { readFrames(log, found) }
        }
        // An image has no log beside it, and each of its states another number (sections 1.3.3, 1.3.6 and 1.3.17).
        version &+= 1
        guard bytes.count >= 100 else { return }
        (bytes[18], bytes[19]) = (1, 1)
        withUnsafeBytes(of: version.bigEndian) { number in
            for index in 0..<4 { (bytes[24 + index], bytes[92 + index]) = (number[index], number[index]) }
        }
    }

    private static func number(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
        UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
    }

    private static func readHeader(_ log: UnsafeRawBufferPointer) -> LogHeader? {
        guard log.count >= headerBytes, number(log, 0) & ~1 == 0x377F_0682 else { return nil }
        let isBigEndian = number(log, 0) & 1 == 1
        let pageSize = Int(number(log, 8))
        var sums = Sums()
        sums.add(UnsafeRawBufferPointer(rebasing: log[..<24]), isBigEndian: isBigEndian)
        guard (512...65_536).contains(pageSize), pageSize.nonzeroBitCount == 1,
            sums == Sums(a: number(log, 24), b: number(log, 28))
        else { return nil }
        return LogHeader(pageSize: pageSize, isBigEndian: isBigEndian, salts: Array(log[16..<24]), sums: sums)
    }

    private func readFrames(_ log: UnsafeRawBufferPointer, _ header: LogHeader) {
        let frameBytes = DatabaseImage.frameHeaderBytes + header.pageSize
        // Every page stands in the file or in the log, so a database has no more.
        let mostPages = (bytes.count + log.count) / header.pageSize + 1
        var frames: [(page: Int, offset: Int)] = []
        var sums = sums
        var offset = position
        while offset + frameBytes <= log.count {
            let frame = UnsafeRawBufferPointer(rebasing: log[offset..<offset + frameBytes])
            sums.add(UnsafeRawBufferPointer(rebasing: frame[..<8]), isBigEndian: header.isBigEndian)
            sums.add(
                UnsafeRawBufferPointer(rebasing: frame[DatabaseImage.frameHeaderBytes...]),
                isBigEndian: header.isBigEndian)
            let page = Int(DatabaseImage.number(frame, 0))
            let pages = Int(DatabaseImage.number(frame, 4))
            guard frame[8..<16].elementsEqual(header.salts), page > 0, page <= mostPages, pages <= mostPages,
                sums == Sums(a: DatabaseImage.number(frame, 16), b: DatabaseImage.number(frame, 20))
            else { return }
            frames.append((page, offset + DatabaseImage.frameHeaderBytes))
            offset += frameBytes
            guard pages > 0 else { continue }
            commit(frames, pages, log, header.pageSize)
            frames.removeAll(keepingCapacity: true)
            position = offset
            self.sums = sums
        }
    }

    private func commit(
        _ frames: [(page: Int, offset: Int)], _ pages: Int, _ log: UnsafeRawBufferPointer, _ pageSize: Int
    ) {
        let size = pages * pageSize
        if bytes.count < size {
            bytes += [UInt8](repeating: 0, count: size - bytes.count)
        } else {
            bytes.removeLast(bytes.count - size)
        }
        bytes.withUnsafeMutableBytes { target in
            for (page, offset) in frames where page <= pages {
                let start = (page - 1) * pageSize
                UnsafeMutableRawBufferPointer(rebasing: target[start..<start + pageSize]).copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: log[offset..<offset + pageSize]))
            }
        }
    }

    // MARK: As a disk with one file

    func open(_ name: String) throws(DiskError) -> any DiskFile { self }
    func delete(_ name: String) throws(DiskError) { throw .permission }
    /// No journal and no log.
    func exists(_ name: String) -> Bool { false }

    func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
        guard offset >= 0, offset < Int64(bytes.count) else { return 0 }
        let start = Int(offset)
        let count = min(buffer.count, bytes.count - start)
        bytes.withUnsafeBytes {
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + count]))
        }
        return count
    }

    func write(_ buffer: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) { throw .permission }
    func truncate(to size: Int64) throws(DiskError) { throw .permission }
    func sync() throws(DiskError) { throw .permission }
    func size() throws(DiskError) -> Int64 { Int64(bytes.count) }
}
