import FabricCore
import FabricStoreSQLite
import Foundation
import Testing

extension FabricStoreTests {
    /// The store on real files, beside the sqlite3 shell.
    @Suite final class DirectoryTests {
        let path: String

        init() { path = FileManager.default.temporaryDirectory.path + "/rap-store-\(UUID().uuidString)" }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        private func mode(_ file: String) throws -> Int {
            let attributes = try FileManager.default.attributesOfItem(atPath: path + file)
            return (attributes[.posixPermissions] as? NSNumber)?.intValue ?? -1
        }

        private func setMode(_ file: String, _ mode: Int) throws {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path + file)
        }

        private func shell(_ sql: String) throws -> (status: Int32, output: String) {
            let process = Process()
            process.executableURL = URL(filePath: "/usr/bin/sqlite3")
            process.arguments = [path + "/ledger.db", sql]
            let pipe = Pipe()
            process.standardOutput = pipe
            process.standardError = pipe
            try process.run()
            let data = try pipe.fileHandleForReading.readToEnd() ?? Data()
            process.waitUntilExit()
            return (process.terminationStatus, String(decoding: data, as: UTF8.self))
        }

        @Test("The directory has mode 0700, its files 0600, and what was committed is there after opening again")
        func opens() throws {
            for round: Int64 in 1...3 {
                let ledger = try Ledger(DirectoryDisk(path: path))
                #expect(try ledger.audit() == round - 1)
                try ledger.append(round)
                #expect(try mode("") == 0o700)
                for file in try FileManager.default.contentsOfDirectory(atPath: path) {
                    #expect(try mode("/" + file) == 0o600, "\(file)")
                }
                if round != 2 { ledger.store.close() }
            }
        }

        @Test("The sqlite3 shell reads a closed database and finds an open one locked")
        func sqliteShell() throws {
            let ledger = try Ledger(DirectoryDisk(path: path))
            try ledger.append(1)
            let locked = try shell("SELECT last FROM total")
            #expect(locked.status != 0 && locked.output.contains("locked"), "\(locked.output)")
            try ledger.append(2)
            ledger.store.close()
            let read = try shell("PRAGMA integrity_check; SELECT last FROM total; PRAGMA page_size")
            #expect(read.status == 0 && read.output == "ok\n2\n4096\n", "\(read.output)")
        }

        @Test("Two cannot have one directory open, nor one database")
        func twoOpeners() throws {
            let disk = try DirectoryDisk(path: path)
            let ledger = try Ledger(disk)
            #expect(throws: DirectoryDiskError.inUse(path: path)) { try DirectoryDisk(path: self.path) }
            guard case .unavailable = failure({ try Ledger(disk) }) as? StoreError else {
                Issue.record("the same database was opened twice")
                return
            }
            try ledger.append(1)
            #expect(try ledger.audit() == 1)
        }

        @Test("A directory or file that others can reach is refused, with the mend")
        func permissions() throws {
            do {
                let ledger = try Ledger(DirectoryDisk(path: path))
                try ledger.append(1)
                ledger.store.close()
            }
            for mode in [0o640, 0o604, 0o666] {
                try setMode("/ledger.db", mode)
                let error = failure { try DirectoryDisk(path: path) } as? DirectoryDiskError
                #expect(
                    error?.description.contains("chmod 600 \(path)/ledger.db") == true, "\(String(describing: error))")
            }
            try setMode("/ledger.db", 0o600)
            try setMode("", 0o750)
            let error = failure { try DirectoryDisk(path: path) } as? DirectoryDiskError
            #expect(error?.description.contains("chmod 700 \(path)") == true)
            try setMode("", 0o700)
            // Made reachable after the directory was opened.
            let disk = try DirectoryDisk(path: path)
            try setMode("/ledger.db", 0o644)
            #expect(throws: DiskError.permission) { try disk.open("ledger.db") }
            guard case .unavailable(let what) = failure({ try Ledger(disk) }) as? StoreError else {
                Issue.record("a file that others can read was opened")
                return
            }
            #expect(what.contains("permission"))
            try setMode("/ledger.db", 0o600)
            #expect(try Ledger(disk).audit() == 1)
        }

        @Test("Links, directories and names that lead elsewhere are refused")
        func names() throws {
            let disk = try DirectoryDisk(path: path)
            for name in ["", ".", "..", "../x", "a/b", "a\0b", String(repeating: "a", count: 256)] {
                #expect(throws: DiskError.permission, "\(name)") { try disk.open(name) }
                #expect(!disk.exists(name))
            }
            try FileManager.default.createSymbolicLink(atPath: path + "/link", withDestinationPath: "/etc/passwd")
            #expect(throws: DiskError.permission) { try disk.open("link") }
            try FileManager.default.createDirectory(atPath: path + "/sub", withIntermediateDirectories: false)
            #expect(throws: DiskError.self) { try disk.open("sub") }
            #expect(throws: DirectoryDiskError.self) { try DirectoryDisk(path: self.path + "/missing/deep") }
            #expect(throws: DiskError.notFound) { try disk.delete("nothing") }
        }

        @Test("A truncated, overwritten or foreign file is refused as corrupt and left as it is")
        func corruption() throws {
            do {
                let ledger = try Ledger(DirectoryDisk(path: path))
                for number: Int64 in 1...20 { try ledger.append(number) }
                ledger.store.close()
            }
            let file = path + "/ledger.db"
            let sound = try Data(contentsOf: URL(filePath: file))
            #expect(sound.count > 60_000)
            func attempt(_ what: String, _ bytes: Data) throws {
                let handle = try FileHandle(forWritingTo: URL(filePath: file))
                try handle.truncate(atOffset: 0)
                try handle.write(contentsOf: bytes)
                try handle.close()
                guard case .corrupt = failure({ try Ledger(DirectoryDisk(path: path)).audit() }) as? StoreError else {
                    Issue.record("\(what) was not seen")
                    return
                }
                #expect(try Data(contentsOf: URL(filePath: file)) == bytes, "\(what)")
            }
            try attempt("truncation to half", sound.prefix(sound.count / 2))
            try attempt("truncation by a page", sound.dropLast(4096))
            try attempt("truncation within a page", sound.dropLast(100))
            try attempt("a page of zeros", sound.prefix(8192) + Data(count: 4096) + sound.dropFirst(12288))
            try attempt("a wrong header", Data(repeating: 0x41, count: 100) + sound.dropFirst(100))
            try attempt("a text file", Data("not a database at all, merely text\n".utf8))
            var flipped = sound
            for page in stride(from: 4096, to: sound.count, by: 4096) { flipped[page] ^= 0x55 }
            try attempt("flipped bits in every page", flipped)
        }

        @Test("An empty file is a new database, as an interrupted first start leaves it")
        func emptyFile() throws {
            do {
                let disk = try DirectoryDisk(path: path)
                _ = try disk.open("ledger.db")
            }
            let ledger = try Ledger(DirectoryDisk(path: path))
            try ledger.append(1)
            #expect(try ledger.audit() == 1)
        }

        @Test("The kernel's refusal to let a file grow counts as a full disk")
        func fullFileSystem() throws {
            let disk = try DirectoryDisk(path: path)
            let file = try disk.open("large")
            let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 1)
            defer { bytes.deallocate() }
            #expect(throws: DiskError.full) { try file.write(UnsafeRawBufferPointer(bytes), at: Int64.max - 16) }
        }
    }
}
