// What the control plane does in a second: enrolments and heartbeats. Run it in release:
//
//     scripts/bench ControlBenchmark
//
// On SQLite in memory, in CPU time; on SQLite in a directory with real syncs, in the time that passes; heartbeats on the
// PostgreSQL that RAP_POSTGRES names too. The exit status is 1 when a goal is missed.

import FabricCore
import FabricPostgresTestSupport
import FabricStoreSQLite
import FabricTestSupport
import Glibc

func sqlite(_ disk: any Disk, _ name: String) throws -> SQLiteStore {
    try SQLiteStore(disk: disk, name: name, random: SeededRandom(seed: 1, stream: name))
}

func measureHeartbeats(in directory: TemporaryDirectory) throws -> Bool {
    var isMet = try HeartbeatMeasurement(try sqlite(MemoryDisk(), "control.db"), nodes: 2_048, .processor)
        .report("heartbeats in memory, CPU time", rounds: 20)
    let disk = try DirectoryDisk(path: directory.path)
    let onDisk = try HeartbeatMeasurement(try sqlite(disk, "heartbeats.db"), nodes: 1_024, .wall)
        .report("heartbeats in a directory, with syncs, wall time", rounds: 20)
    isMet = isMet && onDisk
    guard ScratchSchema.server != nil else {
        print("heartbeats on PostgreSQL: not measured, RAP_POSTGRES names no server")
        return isMet
    }
    let schema = try ScratchSchema()
    let onPostgres = try HeartbeatMeasurement(try schema.connect(), nodes: 1_024, .wall)
        .report("heartbeats on PostgreSQL without syncs, wall time", rounds: 20)
    return isMet && onPostgres
}

let directory = try TemporaryDirectory()
defer { directory.remove() }
try measureEnrolments(in: directory)
let isMet = try measureHeartbeats(in: directory)
directory.remove()
exit(isMet ? 0 : 1)
